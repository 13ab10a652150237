"""What a text says: classifiers behind one port."""
