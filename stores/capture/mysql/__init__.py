"""Capture of MySQL and MariaDB by their binlog."""
