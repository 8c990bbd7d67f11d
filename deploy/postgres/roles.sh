#!/bin/sh
# Run by the PostgreSQL image once, on an empty data folder: the database, the role that owns it (migrations) and
# the role that the service runs as, which may connect and gets every other right from the migrations.
set -eu
psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 \
  --set owner_password="$OWNER_PASSWORD" --set runtime_password="$RUNTIME_PASSWORD" <<'SQL'
CREATE ROLE mealtrail_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE mealtrail_app LOGIN PASSWORD :'runtime_password';
CREATE DATABASE mealtrail OWNER mealtrail_owner ENCODING 'UTF8' TEMPLATE template0;
SQL
