"""One session of redis-py, at its defaults, against the Redis at argv[1]; prints what it got as one line of JSON.

Which session: argv[2], the name of a function below. What is right is said by redis-py.test.ts.
"""

import json
import sys
import threading
import time

import redis

PORT = int(sys.argv[1])


def connect(**options):
    return redis.Redis(host="127.0.0.1", port=PORT, **options)


def values(r):
    r.set("string", "v\u00e4l", ex=100)
    r.hset("hash", mapping={"a": 1, "b": 2})
    r.rpush("list", "a", "b", "c")
    r.zadd("zset", {"low": 1.5, "high": 20})
    r.sadd("set", "x", "y")
    binary = bytes(range(256))
    r.set(binary, binary)
    return {
        "string": r.get("string").decode("utf-8"),
        "ttl": r.ttl("string"),
        "hash": {k.decode(): v.decode() for k, v in r.hgetall("hash").items()},
        "list": [v.decode() for v in r.lrange("list", 0, -1)],
        "zset": [[m.decode(), s] for m, s in r.zrange("zset", 0, -1, withscores=True)],
        "set": sorted(v.decode() for v in r.smembers("set")),
        "binary": r.get(binary) == binary,
        "missing": r.get("missing"),
        "dbsize": r.dbsize(),
        "type": r.type("zset").decode(),
        "info_version": r.info()["redis_version"].split(".")[0],
    }


def many(r):
    r.mset({f"k{i}": i for i in range(300)})
    got = r.mget([f"k{i}" for i in range(310)])
    return {
        "values": [None if v is None else int(v) for v in got],
        "deleted": r.delete(*[f"k{i}" for i in range(100)]),
        "left": r.dbsize(),
    }


def transaction(r):
    """redis-py's pipelines are MULTI ... EXEC by default."""
    pipe = r.pipeline()
    pipe.set("{o}a", "1").incr("{o}a").rpush("{o}l", "x", "y").lrange("{o}l", 0, -1)
    good = pipe.execute()
    pipe = r.pipeline()
    pipe.set("{o}a", "text").lpush("{o}a", "x").set("{o}b", "after")
    bad = pipe.execute(raise_on_error=False)
    raised = None
    try:
        r.pipeline().set("{o}c", "1").lpush("{o}b", "x").execute()
    except redis.ResponseError as error:
        raised = str(error)
    return {
        "good": [good[0], good[1], good[2], [v.decode() for v in good[3]]],
        "bad": [str(reply) for reply in bad],
        "raised": raised,
        "after": r.get("{o}b").decode(),
        "c": r.get("{o}c").decode(),
    }


def transaction_over_shards(r):
    pipe = r.pipeline()
    for i in range(20):
        pipe.set(f"spread:{i}", i)
    error = None
    try:
        pipe.execute()
    except redis.RedisError as raised:
        error = f"{type(raised).__name__}: {raised}"
    return {"error": error, "kept": r.exists(*[f"spread:{i}" for i in range(20)]), "after": r.set("after", 1)}


def plain_pipeline(r):
    pipe = r.pipeline(transaction=False)
    for i in range(2000):
        pipe.set(f"p{i}", i)
        pipe.get(f"p{i}")
    replies = pipe.execute()
    right = all(replies[2 * i] is True and replies[2 * i + 1] == str(i).encode() for i in range(2000))
    return {"replies": len(replies), "right": right}


def watch(r):
    r.set("counter", 0)
    with r.pipeline() as pipe:
        pipe.watch("counter")
        connect().set("counter", 1000)
        pipe.multi()
        pipe.set("counter", 1)
        failed = False
        try:
            pipe.execute()
        except redis.WatchError:
            failed = True
    return {"failed": failed, "value": int(r.get("counter"))}


def watched_count(r):
    r.set("counter", 0)

    def add_some():
        mine = connect()

        def add(pipe):
            value = int(pipe.get("counter"))
            pipe.multi()
            pipe.set("counter", value + 1)

        for _ in range(25):
            mine.transaction(add, "counter")

    threads = [threading.Thread(target=add_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"value": int(r.get("counter"))}


def pubsub(r):
    listener = connect().pubsub(ignore_subscribe_messages=False)
    listener.subscribe("news", "sports")
    listener.psubscribe("n*")
    confirmations = []
    while len(confirmations) < 3:
        message = listener.get_message(timeout=5)
        confirmations.append([message["type"], message["channel"].decode(), message["data"]])
    for i in range(20):
        r.publish("news", f"m{i}")
    r.publish("sports", "goal")
    heard = []
    while len(heard) < 41:
        message = listener.get_message(timeout=5)
        if message is None:
            break
        heard.append([message["type"], message["channel"].decode(), message["data"].decode()])
    surplus = listener.get_message(timeout=0.1)
    listener.unsubscribe("news")
    ended = listener.get_message(timeout=5)
    return {
        "confirmations": confirmations,
        "messages": [data for kind, channel, data in heard if kind == "message" and channel == "news"],
        "pmessages": [data for kind, channel, data in heard if kind == "pmessage"],
        "sports": [data for _, channel, data in heard if channel == "sports"],
        "surplus": surplus,
        "ended": [ended["type"], ended["channel"].decode(), ended["data"]],
        "alive": listener.ping() is None and listener.get_message(timeout=5)["type"],
    }


def locks(r):
    """redis-py's lock releases and extends by Lua."""
    inside = []
    worst = []

    def work(number):
        mine = connect()
        for _ in range(5):
            with mine.lock("the lock", timeout=60, sleep=0.002):
                inside.append(number)
                worst.append(len(inside))
                time.sleep(0.002)
                inside.pop()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lock = r.lock("other lock", timeout=60)
    taken = lock.acquire(blocking=False)
    again = connect().lock("other lock").acquire(blocking=False)
    extended = lock.extend(10)
    ttl = r.pttl("other lock")
    lock.release()
    wrong = None
    try:
        lock.release()
    except redis.exceptions.LockError as error:
        wrong = str(error)
    return {
        "turns": len(worst),
        "most_inside": max(worst),
        "taken": taken,
        "again": again,
        "extended": extended and 60000 < ttl <= 70000,
        "wrong": wrong,
        "left": r.exists("the lock", "other lock"),
    }


def scans(r):
    pipe = r.pipeline(transaction=False)
    for i in range(2500):
        pipe.set(f"scan:{i}", i)
    pipe.execute()
    r.sadd("members", *range(1500))
    r.hset("fields", mapping={f"f{i}": i for i in range(1500)})
    r.zadd("scores", {f"m{i}": i for i in range(1500)})
    return {
        "keys": len(set(r.scan_iter())),
        "matched": len(set(r.scan_iter(match="scan:1*", count=300))),
        "typed": sorted(k.decode() for k in set(r.scan_iter(_type="hash"))),
        "members": len(set(r.sscan_iter("members"))),
        "fields": len(dict(r.hscan_iter("fields"))),
        "scores": len(dict(r.zscan_iter("scores"))),
    }


def blocking(r):
    popped = []

    def wait():
        popped.append([v.decode() for v in connect().blpop(["{b}1", "{b}2"], timeout=60)])

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    r.rpush("{b}2", "job")
    thread.join()
    started = time.monotonic()
    none = r.brpop("nothing", timeout=1)
    waited = time.monotonic() - started
    r.zadd("ranks", {"a": 1, "b": 2})
    least = r.bzpopmin("ranks", timeout=1)
    r.rpush("{m}from", "x")
    moved = r.blmove("{m}from", "{m}to", 1)
    return {
        "popped": popped,
        "none": none,
        "waited": 0.95 <= waited < 1.6,
        "least": [least[0].decode(), least[1].decode(), least[2]],
        "moved": moved.decode(),
    }


def streams(r):
    r.xgroup_create("jobs", "workers", id="0", mkstream=True)
    ids = [r.xadd("jobs", {"n": i}) for i in range(10)]
    first = r.xreadgroup("workers", "one", {"jobs": ">"}, count=4, block=100)
    second = r.xreadgroup("workers", "two", {"jobs": ">"}, count=100, block=100)
    numbers = lambda reply: [int(fields[b"n"]) for _, fields in reply[0][1]]
    acked = r.xack("jobs", "workers", *ids)
    return {
        "one": numbers(first),
        "two": numbers(second),
        "acked": acked,
        "pending": r.xpending("jobs", "workers")["pending"],
        "none": r.xreadgroup("workers", "one", {"jobs": ">"}, block=50),
        "length": r.xlen("jobs"),
    }


def scripts(r):
    script = r.register_script("return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}")
    first = [script(keys=[f"s{i}"], args=[2])[1] for i in range(30)]
    r.script_flush()
    second = [script(keys=[f"s{i}"], args=[3])[1] for i in range(30)]
    pipe = r.pipeline(transaction=False)
    script(keys=["s0"], args=[10], client=pipe)
    script(keys=["s1"], args=[10], client=pipe)
    return {"first": first, "second": second, "piped": [reply[1] for reply in pipe.execute()]}


def errors(r):
    def text(work):
        try:
            work()
        except redis.RedisError as error:
            return f"{type(error).__name__}: {error}"
        return None

    r.set("text", "x")
    return {
        "type": text(lambda: r.lpush("text", "x")),
        "unknown": text(lambda: r.execute_command("NOSUCH", "a", "b")),
        "arity": text(lambda: r.execute_command("GET")),
        "script": text(lambda: r.evalsha("0" * 40, 1, "k")),
        "number": text(lambda: r.incr("text")),
        "database": text(lambda: r.execute_command("SELECT", "99")),
    }


if __name__ == "__main__":
    client = connect()
    client.flushall()
    print(json.dumps(globals()[sys.argv[2]](client)))
