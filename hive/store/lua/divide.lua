-- KEYS: job. ARGV: id, attempt, all plans so far, then the id of each part. The job gives up its slot and waits for
-- these parts; where all of them are done, it is queued at once.
-- include _job

local job, id = KEYS[1], ARGV[1]
if not is_newest(job, ARGV[2]) then return 0 end
local ms, total = now(), #ARGV - 3
local queue = redis.call('HGET', job, 'queue')
pay(job, ms)
redis.call('HSET', job, 'divided', total, 'plans', ARGV[3])
redis.call('ZREM', key.running .. queue, id)
redis.call('ZREM', key.leases .. queue, id)
tell(job, {event = 'divided', ms = ms, attempt = tonumber(ARGV[2]), parts = total})
for n = 4, #ARGV do
  local part = key.job .. ARGV[n]
  redis.call('HSET', part, 'parent', id)
  redis.call('ZREM', key.jobs, ARGV[n])
  redis.call('SADD', job .. key.parts, ARGV[n])
end
for n = 4, #ARGV do
  local part = key.job .. ARGV[n]
  local state = redis.call('HGET', part, 'state')
  if state ~= 'queued' and state ~= 'running' then note_part(part, ARGV[n], ms, state) end
end
if total == 0 then wait_again(job, id, ms) end
return 1
