"""Pictures of persons: their records and identifiers, laid out so that a person can look at them."""
