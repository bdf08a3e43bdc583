# PostgreSQL: initdb, a server with its processes and plugins, queries by psql, a dump
# needs: runuser psql
# timeout: 120
# slow
# ignore: data*
# ignore: log
# ignore: sock*
# mask: (server process|pid) .*
#== run
B=$(ls -d /usr/lib/postgresql/*/bin | tail -1); [ -x $B/postgres ] || exit 0; chmod 755 .. . ; mkdir data sock; chown nobody data sock; export LC_ALL=C
U="runuser -u nobody --"; $U $B/initdb -D data -A trust -U me >/dev/null 2>&1; echo "initdb $?"
chmod 711 ../.. 2>/dev/null; timeout -s QUIT 80 $U $RUN $B/postgres -D data -k $PWD/sock -c listen_addresses= >log 2>&1 & p=$!
for i in $(seq 100); do [ -S sock/.s.PGSQL.5432 ] && $B/pg_isready -q -h $PWD/sock && break; sleep .1; done
Q="$RUN $B/psql -h $PWD/sock -U me -d postgres -At"; $Q -c 'create table t as select i, md5(i::text) m from generate_series(1, 5000) i' -c 'select count(*), max(m) from t' -c "create function f(int) returns int language plpgsql as 'begin return \$1 * 2; end'" -c 'select f(21)' -c 'select sum(i) from t where m like $$a%$$' -c 'create index on t(m)' -c 'explain select * from t where m = $$x$$' -c 'select nosuch'; echo "status $?"; $RUN $B/pg_dump -h $PWD/sock -U me postgres | grep -v '^--\|restrict' | md5sum; $U $RUN $B/pg_ctl -s -m fast -D data stop 2>/dev/null || kill -QUIT $p; wait $p; echo "server $?"; rm -rf data sock
