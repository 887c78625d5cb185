-- KEYS: job. ARGV: id. Returns 1 where the job is cancelled now, 0 where it had ended before.
-- include _job

local job, id = KEYS[1], ARGV[1]
local state = redis.call('HGET', job, 'state')
if state ~= 'queued' and state ~= 'running' then return 0 end
local ms = now()
finish(job, id, ms, 'cancelled', {kind = 'cancelled'})
tell(job, {event = 'cancelled', ms = ms})
redis.call('PUBLISH', key.cancel, id)
return 1
