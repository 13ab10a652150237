"""The row store of profiles: records, persons, activities, and what is found by them."""
