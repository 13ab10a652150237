"""Settings of what is measured: the travel company, and the stores whose values must agree in pairs.

Both are texts of a `headrace.toml` with the folder that they are for, `{home}`, left open.
"""

from __future__ import annotations

COMPANY = """
[embedding]
backend = "{backend}"

[[knowledge.folders]]
name = "manuals"
path = "{home}/manuals"

[[tables.streams]]
name = "operations"
format = "headrace"

[[tables.live]]
name = "flights"
table = "flights"
index = ["id", "number", "destination"]

[[tables.live]]
name = "seats"
table = "seats"
index = ["id", "flight"]

[[tables.live]]
name = "fares"
table = "fares"
index = ["id", "flight"]

[[tables.live]]
name = "rooms"
table = "rooms"
index = ["id", "hotel", "town"]

[[tables.live]]
name = "rates"
table = "rates"
index = ["id", "room"]

[profiles]
region = "PT"

[[profiles.streams]]
name = "customers"
format = "headrace"

[[profiles.tables]]
name = "customers"
table = "customers"
identifiers = {{ email = ["email"], phone = ["phone"] }}

[[profiles.tables]]
name = "users"
table = "users"
identifiers = {{ email = ["email"] }}

[[profiles.tables]]
name = "bookings"
table = "bookings"
references = "customers"
by = {{ customer = "id" }}
open = {{ status = ["booked"] }}
sums = ["price"]

[serving]
requests_per_minute = 1000000
token_minutes = 240

[[serving.entities]]
name = "flight"
pattern = 'CV ?\\d{{4}}'
remove = " "
upper = true

[[serving.entities]]
name = "destination"
table = "flights"
column = "destination"

[[serving.entities]]
name = "hotel"
table = "rooms"
column = "hotel"

[[serving.entities]]
name = "day"
dates = true

[[serving.lookups]]
name = "flights"
table = "flights"
where = {{ number = "flight" }}
order = "departs_at"
descending = true
limit = 2
text = "Flight {{number}} from {{origin}} to {{destination}}: {{status}}; departs {{departs_at}}, gate {{gate}}"

[[serving.lookups]]
name = "flights_on"
table = "flights"
where = {{ destination = "destination", departs_at = "day" }}
order = "departs_at"
limit = 3

[[serving.lookups]]
name = "booked"
table = "flights"
where = {{ number = "profile.bookings.flight" }}
order = "departs_at"
limit = 2

[[serving.lookups]]
name = "fares"
table = "fares"
where = {{ flight = "flights.id" }}
order = "price"
limit = 6

[[serving.lookups]]
name = "seats"
table = "seats"
where = {{ flight = "flights.id" }}

[[serving.lookups]]
name = "rooms"
table = "rooms"
where = {{ hotel = "hotel" }}
order = "name"
limit = 4

[[serving.lookups]]
name = "rates"
table = "rates"
where = {{ room = "rooms.id" }}
order = "price"
limit = 4
"""

PAIRED = """
[embedding]
backend = "hashing"

[[knowledge.folders]]
name = "handbooks"
path = "{home}/handbooks"

[[tables.streams]]
name = "operations"
format = "headrace"

[[tables.live]]
name = "flights"
table = "flights"
index = ["number"]

[[tables.live]]
name = "fares"
table = "fares"
index = ["flight"]

[[profiles.streams]]
name = "customers"
format = "headrace"

[[profiles.tables]]
name = "customers"
table = "customers"
identifiers = {{ email = ["email"] }}

[[profiles.tables]]
name = "bookings"
table = "bookings"
references = "customers"
by = {{ customer = "id" }}
open = {{ status = ["booked"] }}
sums = ["price"]

[serving]
requests_per_minute = 1000000

[serving.context]
budget_tokens = 4000

[[serving.entities]]
name = "flight"
pattern = 'CV\\d{{4}}'

[[serving.lookups]]
name = "flights"
table = "flights"
where = {{ number = "flight" }}

[[serving.lookups]]
name = "fares"
table = "fares"
where = {{ flight = "flights.id" }}
"""
