"""The vector store: chunks of documents, searched by meaning and by words."""
