#!/bin/sh
# Starts PostgreSQL in docker-compose.yml: `primary`, or `replica` of the service postgres. The same for every image with
# Debian's layout; whoever starts it owns the directory above $PGDATA.
set -eu
umask 077

# The newest version that is installed. Only some images have its programs in PATH.
for programs in /usr/lib/postgresql/*/bin; do PATH=$programs:$PATH; done

# Moved into its place when it is complete: what was interrupted is begun anew.
new=$PGDATA.new

make_primary() {
    printf '%s\n' "$POSTGRES_PASSWORD" >"$PGDATA.password"
    # Inside the container nobody is asked for a password.
    initdb --pgdata="$new" --username="$POSTGRES_USER" --pwfile="$PGDATA.password" --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256
    rm "$PGDATA.password"
    printf 'host %s all all scram-sha-256\n' all replication >>"$new/pg_hba.conf"
    printf 'CREATE DATABASE %s;\n' "$POSTGRES_DB" | postgres --single -D "$new" postgres
}

make_replica() {
    PGPASSWORD=$POSTGRES_PASSWORD pg_basebackup --host=postgres --username="$POSTGRES_USER" --pgdata="$new" \
        --wal-method=stream --checkpoint=fast --write-recovery-conf
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    rm -rf "$new"
    "make_$1"
    mv "$new" "$PGDATA"
fi

# A replica that was away for longer than that has to be made anew: remove its volume.
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql \
    -c wal_keep_size=512MB
