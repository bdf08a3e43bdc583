# PostgreSQL: a server with its processes, shared memory and plugins, queries by psql, a dump; a preload hides that we are root
# needs: psql gcc
# timeout: 120
# slow
# ignore: data*
# ignore: log
# ignore: sock*
# mask: (server process|pid) .*
printf '#include <pwd.h>\nint geteuid(void) { return 65534; }\nint getuid(void) { return 65534; }\n' >u.c; gcc -shared -fPIC -w u.c -o u.so
#== run
B=$(ls -d /usr/lib/postgresql/*/bin | tail -1); [ -x $B/postgres ] || exit 0; mkdir -m 700 data; mkdir sock; chown nobody data
LD_PRELOAD=$PWD/u.so $B/initdb -D data -A trust -U me >/dev/null 2>&1; echo "initdb $?"; chown -R nobody data
LD_PRELOAD=$PWD/u.so $RUN $B/postgres -D data -k $PWD/sock -c listen_addresses= >log 2>&1 & p=$!
for i in $(seq 100); do [ -S sock/.s.PGSQL.5432 ] && $B/pg_isready -q -h $PWD/sock && break; sleep .1; done
Q="$RUN $B/psql -h $PWD/sock -U me -d postgres -At"; $Q -c 'create table t as select i, md5(i::text) m from generate_series(1, 5000) i' -c 'select count(*), max(m) from t' -c "create function f(int) returns int language plpgsql as 'begin return \$1 * 2; end'" -c 'select f(21)' -c 'select sum(i) from t where m like $$a%$$' -c 'create index on t(m)' -c 'explain select * from t where m = $$x$$' -c 'select nosuch'; echo "status $?"; $RUN $B/pg_dump -h $PWD/sock -U me postgres | grep -v '^--\|restrict' | md5sum; $B/pg_isready -q -h $PWD/sock; echo "ready $?"; kill -QUIT $(head -1 data/postmaster.pid); wait $p; echo "server $?"; rm -rf data sock
