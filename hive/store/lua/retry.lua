-- KEYS: job. ARGV: id. A failed or cancelled job gets a new series of attempts. Returns 1, or 0 where it is neither.
-- include _job

local job, id = KEYS[1], ARGV[1]
local state = redis.call('HGET', job, 'state')
if state ~= 'failed' and state ~= 'cancelled' then return 0 end
local ms = now()
redis.call('HSET', job, 'losses', 0)
redis.call('HDEL', job, 'error', 'finished_ms', 'outputs', 'measures')
wait_again(job, id, ms)
tell(job, {event = 'retried', ms = ms})
return 1
