-- KEYS: report, workers. ARGV: report, how long it is good [ms], worker, what its time since its last report cost [US$]
-- or '', for how long [s] a worker is there after its last report at most. Returns how many there are. Timed by Redis:
-- a worker's clock may be wrong.
-- include _presence

local time = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], time[1] + time[2] / 1000000, ARGV[3])
count_time(ARGV[3], ARGV[4])
return redis.call('ZCOUNT', KEYS[2], time[1] - ARGV[5], '+inf')
