"""Change events of databases: decoded from every format into one, and put into order."""
