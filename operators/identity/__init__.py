"""Who is who: identifiers found in rows, and persons resolved on a graph of them."""
