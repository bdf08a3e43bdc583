# python3: sqlite3 with functions, aggregates, full-text search, threads; dbm
# needs: python3
# ignore: x.db
# with:
# with: --lazy
#== run
cat >t.py <<'END'
import sqlite3, threading, dbm.ndbm, sys
print(sqlite3.sqlite_version)
d = sqlite3.connect("data.db"); d.execute("create table t(a integer primary key, b text, c real)")
d.executemany("insert into t(b,c) values(?,?)", ((f"name {i*7919%1000}", i / 3) for i in range(20000))); d.commit()
print(d.execute("select count(*), sum(c), min(b), max(b) from t").fetchall())
d.create_function("rev", 1, lambda s: s[::-1]); print(d.execute("select rev(b) from t order by b limit 3").fetchall())
class Agg:
    def __init__(self): self.x = 0
    def step(self, v): self.x ^= int(v)
    def finalize(self): return self.x
d.create_aggregate("xors", 1, Agg); print(d.execute("select xors(c) from t").fetchone())
d.create_collation("desc", lambda a, b: (a < b) - (a > b)); print(d.execute("select b from t order by b collate desc limit 2").fetchall())
d.execute("create virtual table f using fts5(x)"); d.execute("insert into f values('the quick brown fox'),('lazy dog')"); d.commit()
print(d.execute("select highlight(f,0,'<','>') from f where f match 'quick'").fetchall(), d.execute("select json_extract('{\"a\":[1,2]}', '$.a[1]')").fetchone())
try: d.execute("select * from nope")
except sqlite3.OperationalError as e: print("error", e)
def work(n):
    c = sqlite3.connect("data.db"); out[n] = c.execute("select count(*) from t where a%7=?", (n,)).fetchone(); c.close()
out = {}; ts = [threading.Thread(target=work, args=(n,)) for n in range(7)]; [t.start() for t in ts]; [t.join() for t in ts]; print(sorted(out.items()))
b = sqlite3.connect(":memory:"); d.backup(b); print(b.execute("pragma integrity_check").fetchone(), len(list(b.iterdump())))
d.close()
with dbm.ndbm.open("x", "c") as db: db["k"] = "v"; print(db["k"])
try:
    import dbm.gnu
    with dbm.gnu.open("y", "c") as db: db["k"] = "v"; print(db["k"])
except ImportError as e: print(e)
END
$RUN /usr/bin/python3 t.py; echo "status $?"
