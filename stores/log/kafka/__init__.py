"""The log on Apache Kafka, and on what speaks its protocol."""
