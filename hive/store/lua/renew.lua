-- KEYS: index of deliveries. ARGV: lease [ms], JSON {"jobs": [[id, attempt, peak memory], …], "tags": [tag, …]}.
-- Returns "id.attempt" of each attempt that is not the newest one any more; its work is for nobody. An attempt that has
-- only just ended its job itself is none of these.
-- include _job
-- include _pulse

local function has_ended_itself(job, attempt)
  local fields = redis.call('HMGET', job, 'state', 'attempts', 'error')
  if fields[2] ~= tostring(attempt) then return false end
  return fields[1] == 'succeeded' or fields[1] == 'failed' and cjson.decode(fields[3] or '{}').kind ~= 'worker-lost'
end

local lease, held = tonumber(ARGV[1]), cjson.decode(ARGV[2])
local ms, stale = now(), {}
pulse(ms, lease)
for _, entry in ipairs(held.jobs) do
  local job = key.job .. entry[1]
  if is_newest(job, entry[2]) then
    redis.call('ZADD', key.leases .. redis.call('HGET', job, 'queue'), 'XX', ms + lease, entry[1])
    if entry[3] > 0 then redis.call('HSET', job, 'peak_memory_bytes', entry[3]) end
  elseif not has_ended_itself(job, entry[2]) then
    stale[#stale + 1] = entry[1] .. '.' .. entry[2]
  end
end
for _, tag in ipairs(held.tags) do redis.call('ZADD', KEYS[1], 'XX', ms / 1000, tag) end
return stale
