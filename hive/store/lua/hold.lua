-- KEYS: index, hash of deliveries. ARGV: tag, delivery. A worker holds a delivery from now on, by Redis' clock.

local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] + time[2] / 1000000, ARGV[1])
return redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
