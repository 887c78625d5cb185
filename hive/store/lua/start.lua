-- KEYS: job. ARGV: id, worker, host, lease [ms], price of a slot [US$/h] or ''. Returns the attempt's number; 0 where
-- there is nothing to do: the job is finished or unknown, or another attempt is alive (this message is then a copy that
-- nobody needs).
-- include _job
-- include _pulse

local job, id, lease = KEYS[1], ARGV[1], tonumber(ARGV[4])
local ms = now()
pulse(ms, lease)
if redis.call('HEXISTS', job, 'divided') == 1 then return 0 end
local queue = redis.call('HGET', job, 'queue')
if redis.call('HGET', job, 'state') == 'running' then
  local ends = tonumber(redis.call('ZSCORE', key.leases .. queue, id) or 0)
  if ends > ms or is_away(ms) then return 0 end
  lose(job, id, ms, 'vanished', ends)
end
if redis.call('HGET', job, 'state') ~= 'queued' then return 0 end
local attempt = redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSET', job, 'state', 'running', 'started_ms', ms, 'worker', ARGV[2], 'host', ARGV[3],
  'slot_usd_per_h', ARGV[5])
redis.call('HDEL', job, 'progress', 'peak_memory_bytes')
redis.call('ZREM', key.waiting .. queue, id)
redis.call('ZADD', key.running .. queue, ms, id)
redis.call('ZADD', key.leases .. queue, ms + lease, id)
tell(job, {event = 'started', ms = ms, attempt = attempt, worker = ARGV[2], host = ARGV[3]})
return attempt
