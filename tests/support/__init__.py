"""What tests stand on. Tests of a kind share a room here; what only one file of tests needs stands in that file.

Real parts, found or set up: `kafka`, `postgres` (with `postgres_binaries` and `postgres_databases`), `sources` (where
one comes from, and what is said when there is none), `processes` (no server outlives the tests), `stores` and `logs`
(each store, each log, as a fixture). Parts in memory: `fake_log` on `fake_topics`, `clocks`, `listening`.

mealtrail itself: `deployments` (real processes), `warm_commands` (its commands without their imports), `http_face` (the
HTTP face in this process), `working_site` (a worker beside it), `catching_up`, `dying_worker`, `rebuilding` (a
deployment that lost its store), `audited` (one to tamper with). `waiting` is what tests do instead of sleeping,
`lateness` what their bounds allow a busy machine.

What happens: `received` makes records, `tale` tells an order's life in a few lines, `random_logs` and `troubled_logs`
make whole logs from a seed, `poison` makes decisions fail, `orders` and `chains` write a store without a log.

What must come of it: `model` (the applier without a store), and the second opinion that shares no code with the
service, `oracle` with `oracle_story`, `oracle_waiting`, `oracle_verdicts` and `oracle_letters`; `comparing` puts both
into the same words.

The world outside: `partners` (people as HTTP clients), `signing` and `dialect_fixtures` (partners' formats),
`courierese` (a partner that nobody has), `hostile` (bodies that break parsers), `probes` (looking on from outside),
`links`, `toxics` and `toxiproxy` (networks), `disks`.

Documents: `documents` and `sessions` (code and sessions that pages show), `documented` with
`documented_order_status`, `documented_storeharmony` and `documented_vendor` (other people's APIs as their documents
have them).
"""
