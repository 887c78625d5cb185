-- KEYS: job. ARGV: attempt, checkpoint. Returns 1 where the attempt is the newest one and its checkpoint is kept.
-- include _job

if not is_newest(KEYS[1], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'checkpoint', ARGV[2])
return 1
