# A database's own checks: initdb with checksums, a benchmark, an unclean stop, recovery, and every page verified.
bin=$(echo /usr/lib/postgresql/*/bin)
mkdir /db && chown postgres /db
as() { su postgres -s /bin/sh -c "$*"; }
as "$bin/initdb -D /db/data -k" >/dev/null && echo initialised
as "$bin/pg_ctl -D /db/data -w -l /db/log -o '-k /db -h \"\"' start" >/dev/null && echo started
as "$bin/createdb -h /db bench && $bin/pgbench -h /db -q -i -s 10 bench" 2>/dev/null && echo filled
as "$bin/pgbench -h /db -t 500 -c 4 -j 2 bench" 2>/dev/null | grep -E 'processed|failed'
as "$bin/psql -h /db -Atc 'select count(*), sum(abalance) = (select sum(delta) from pgbench_history) from pgbench_accounts' bench"
as "$bin/pg_ctl -D /db/data -w -m immediate stop" >/dev/null && echo killed
as "$bin/pg_ctl -D /db/data -w -l /db/log -o '-k /db -h \"\"' start" >/dev/null && echo recovered
as "$bin/psql -h /db -Atc 'select count(*) from pgbench_history' bench"
as "$bin/pg_ctl -D /db/data -w stop" >/dev/null
as "$bin/pg_checksums --check -D /db/data" | grep -E 'Bad'
