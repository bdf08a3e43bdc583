# sqlite3: the command line on a generated database; dump, import, CTEs, window functions, extensions
# needs: sqlite3
# with:
# with: --lazy
#== run
$RUN sqlite3 x.db 'create table t(a integer primary key, b text, c real); with recursive n(i) as (select 1 union all select i+1 from n where i < 30000) insert into t select i, hex(i*7919), i/7.0 from n; create index ib on t(b);'
$RUN sqlite3 -header -column x.db 'select a % 5 g, count(*), round(sum(c), 3), min(b) from t group by g order by g; select a, b, row_number() over (order by b) from t limit 4; explain query plan select * from t where b = 1'
$RUN sqlite3 -json x.db 'select json_group_array(a) x from t where a < 9'; $RUN sqlite3 x.db .dump | md5sum; $RUN sqlite3 x.db .schema '.mode csv' 'select * from t limit 2' '.stats off'; printf '1,x\n2,y\n' >i.csv; $RUN sqlite3 x.db '.mode csv' '.import i.csv im' 'select * from im'
$RUN sqlite3 x.db 'select nosuch'; echo "status $?"; $RUN sqlite3 x.db 'pragma integrity_check; vacuum; select sum(c), avg(a), sqrt(2), pi() from t'; $RUN sqlite3 :memory: "select load_extension('./nosuch')"; echo "status $?"; $RUN sqlite3 x.db '.backup y.db'; $RUN sqlite3 y.db 'select count(*) from t'; rm *.db; for i in 1 2; do echo "select $i;"; done | $RUN sqlite3
