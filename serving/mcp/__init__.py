"""The interface for models that use tools: the Model Context Protocol."""
