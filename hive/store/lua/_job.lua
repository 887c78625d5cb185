-- include _time
-- include _story
-- include _accounts

local finish

local function is_newest(job, attempt)
  local fields = redis.call('HMGET', job, 'state', 'attempts', 'divided')
  return fields[1] == 'running' and fields[2] == tostring(attempt) and not fields[3]
end

local function wait_again(job, id, ms)
  local queue = redis.call('HGET', job, 'queue')
  redis.call('HSET', job, 'state', 'queued')
  redis.call('HDEL', job, 'progress', 'divided')
  redis.call('ZREM', key.running .. queue, id)
  redis.call('ZREM', key.leases .. queue, id)
  redis.call('ZREM', key.finished .. queue, id)
  redis.call('ZADD', key.waiting .. queue, ms, id)
end

-- A job has ended without waiting for its parts any longer: nobody needs them.
local function end_parts(job, ms)
  local parts = redis.call('SMEMBERS', job .. key.parts)
  redis.call('DEL', job .. key.parts)
  for _, id in ipairs(parts) do
    local part = key.job .. id
    local state = redis.call('HGET', part, 'state')
    if state == 'queued' or state == 'running' then
      finish(part, id, ms, 'cancelled', {kind = 'cancelled', reason = 'parent-ended'})
      tell(part, {event = 'cancelled', ms = ms})
      redis.call('PUBLISH', key.cancel, id)
    end
  end
end

-- A part has ended: its parent goes on when it was the last one, and fails where it has failed.
local function note_part(part, id, ms, state)
  local parent = redis.call('HGET', part, 'parent')
  local job = key.job .. (parent or '')
  if not parent or redis.call('SREM', job .. key.parts, id) == 0 then return end
  local total = tonumber(redis.call('HGET', job, 'divided') or 0)
  if total == 0 then return end
  local left = redis.call('SCARD', job .. key.parts)
  if state ~= 'succeeded' then
    local error = cjson.decode(redis.call('HGET', part, 'error') or '{"kind": "cancelled"}')
    finish(job, parent, ms, 'failed', {kind = 'part-failed', part = id, state = state, error = error})
    tell(job, {event = 'failed', ms = ms, kind = 'part-failed', part = id})
  elseif left > 0 then
    local progress = {done = total - left, total = total, unit = 'parts', message = ''}
    redis.call('HSET', job, 'progress', cjson.encode(progress))
    redis.call('PUBLISH', job, 'progress')
  else
    wait_again(job, parent, ms)
    tell(job, {event = 'parts done', ms = ms, parts = total})
  end
end

finish = function(job, id, ms, state, error)
  pay(job, ms)
  local fields = redis.call('HMGET', job, 'queue', 'specification', 'started_ms', 'cost_usd')
  local queue = fields[1]
  count_end(fields[2], fields[3], fields[4], ms, state)
  redis.call('HSET', job, 'state', state, 'finished_ms', ms)
  if error then redis.call('HSET', job, 'error', cjson.encode(error)) end
  redis.call('ZREM', key.waiting .. queue, id)
  redis.call('ZREM', key.running .. queue, id)
  redis.call('ZREM', key.leases .. queue, id)
  redis.call('ZADD', key.finished .. queue, ms, id)
  redis.call('HDEL', job, 'divided')
  end_parts(job, ms)
  note_part(job, id, ms, state)
end

-- An attempt ended without a result. It counts; after the last allowed one the job is failed, with the reason. One of
-- which nothing was heard any more is paid until its lease ended.
local function lose(job, id, ms, reason, leased)
  pay(job, (leased or 0) > 0 and math.min(ms, leased) or ms)
  local fields = redis.call('HMGET', job, 'attempts', 'worker', 'host', 'most_losses', 'peak_memory_bytes')
  local attempt, worker, host, most, peak = unpack(fields)
  local losses = redis.call('HINCRBY', job, 'losses', 1)
  tell(job, {event = 'lost', ms = ms, attempt = tonumber(attempt), worker = worker, reason = reason})
  if losses < tonumber(most) then
    wait_again(job, id, ms)
    return
  end
  local error = {kind = 'worker-lost', reason = reason, losses = losses, worker = worker, host = host}
  if peak then error.peak_memory_bytes = tonumber(peak) end
  finish(job, id, ms, 'failed', error)
  tell(job, {event = 'failed', ms = ms, kind = 'worker-lost'})
end
