-- KEYS: report, workers. ARGV: worker, what its time since its last report cost [US$] or ''. The worker signs off.
-- include _presence

redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
count_time(ARGV[1], ARGV[2])
