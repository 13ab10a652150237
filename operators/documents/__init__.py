"""Documents: decoded, parsed, cut into chunks, compared with what was known, embedded."""
