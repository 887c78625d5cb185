"""The Lua scripts that change a job's record: each change is one atomic step, timed by Redis' own clock.

Keys, all under `hive:`
    job:ID          hash: specification, state, times, attempts, losses, worker, progress, outputs, measures, error,
                    cost_usd (`null` where an attempt's price is unknown); while it runs, its slot's price;
                    and its story: each change in a line of its own, with tabs between time [ms], name and, as JSON,
                    what else there is to say. A key of its own would take 100 bytes more, and all of it as JSON too.
    job:ID:log      stream of the lines that its attempts logged and printed
    job:ID:parts    set of the ids of its parts that it waits for
    jobs            sorted set of ids by time of submission
    waiting:QUEUE   sorted set of queued ids by the time since which they wait
    running:QUEUE   sorted set of running ids by the time of their start
    leases:QUEUE    sorted set of running ids by the time at which their lease ends
    finished:QUEUE  sorted set of finished ids by the time of their end
    queues          the queues that have ever had a job
    totals          hash of what all jobs came to: ends, run times and cost by task; it outlives their records
    spent           hash of US$ by day (days since 1970): `run DAY` of attempts, `there DAY` of workers' whole time
    shares          hash of the same in detail: `run DAY TASK WORKER`, `there DAY WORKER`, `boot DAY WORKER` [US$], and
                    `unknown DAY TASK WORKER`, how many attempts nobody knows the price of
    pulse           when a worker was last heard of
    away_until      until when no lease ends, because Redis itself was away
The attempt number is the fencing token: a change that comes from an attempt which is not the newest does nothing.
What has QUEUE in its name is all that a worker of this queue may touch beside the records themselves.
A job that is divided waits for its parts: it is `running`, has no lease and no attempt, and is in no set but its own.
"""

# Bounds of the histogram of run times [s]: from a no-op to a day of training.
RUN_BOUNDS_S = (0.1, 1, 10, 60, 300, 1800, 7200, 28800, 86400)

DAY_S = 86_400

_COMMON = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function told(event)
  local name, ms = event.event, event.ms
  event.event, event.ms = nil, nil
  return string.format('%.0f', ms) .. '\\t' .. name .. (next(event) and '\\t' .. cjson.encode(event) or '')
end

local function tell(job, event)
  local name, before = event.event, redis.call('HGET', job, 'story')
  redis.call('HSET', job, 'story', (before and before .. '\\n' or '') .. told(event))
  redis.call('PUBLISH', job, name)
end

-- Workers renew their leases four times per lease. Where nobody was heard for half a lease, it was Redis (or the
-- laptop under it) that was away: everybody gets one lease of time to come back before anything counts as lost.
local function pulse(ms, lease)
  local last = tonumber(redis.call('GET', 'hive:pulse') or ms)
  if ms - last > lease / 2 then redis.call('SET', 'hive:away_until', ms + lease) end
  redis.call('SET', 'hive:pulse', ms)
end
local function is_away(ms)
  return ms < tonumber(redis.call('GET', 'hive:away_until') or 0)
end

local function wait_again(job, id, ms)
  local queue = redis.call('HGET', job, 'queue')
  redis.call('HSET', job, 'state', 'queued')
  redis.call('HDEL', job, 'progress', 'divided')
  redis.call('ZREM', 'hive:running:' .. queue, id)
  redis.call('ZREM', 'hive:leases:' .. queue, id)
  redis.call('ZREM', 'hive:finished:' .. queue, id)
  redis.call('ZADD', 'hive:waiting:' .. queue, ms, id)
end

local function task_of(specification)
  return string.match(specification, '"task":"([^"]*)"') or 'unknown'
end

-- An attempt ends: its share of its worker's price goes to its job, and to the accounts of the days on which it ran.
-- The slot's price is in the record as long as an attempt is to be paid, so that none is paid twice.
local function pay(job, ms)
  local kept = redis.call('HMGET', job, 'slot_usd_per_h', 'started_ms', 'worker', 'specification', 'cost_usd')
  if not kept[1] then return end
  redis.call('HDEL', job, 'slot_usd_per_h')
  local task, price, from = task_of(kept[4]), tonumber(kept[1]), math.min(tonumber(kept[2]), ms)
  if not price then
    redis.call('HSET', job, 'cost_usd', 'null')
    redis.call('HINCRBY', 'hive:shares', 'unknown ' .. math.floor(ms / DAY_MS) .. ' ' .. task .. ' ' .. kept[3], 1)
    return
  end
  repeat
    local day = math.floor(from / DAY_MS)
    local till = math.min(ms, (day + 1) * DAY_MS)
    local usd = string.format('%.12f', (till - from) * price / 3600000)
    redis.call('HINCRBYFLOAT', 'hive:spent', 'run ' .. day, usd)
    redis.call('HINCRBYFLOAT', 'hive:shares', 'run ' .. day .. ' ' .. task .. ' ' .. kept[3], usd)
    redis.call('HINCRBYFLOAT', 'hive:totals', 'usd ' .. task, usd)
    if kept[5] ~= 'null' then redis.call('HINCRBYFLOAT', job, 'cost_usd', usd) end
    from = till
  until from >= ms
end

local finish

-- A job has ended without waiting for its parts any longer: nobody wants them.
local function end_parts(job, ms)
  local parts = redis.call('SMEMBERS', job .. ':parts')
  redis.call('DEL', job .. ':parts')
  for _, id in ipairs(parts) do
    local part = 'hive:job:' .. id
    local state = redis.call('HGET', part, 'state')
    if state == 'queued' or state == 'running' then
      finish(part, id, ms, 'cancelled', {kind = 'cancelled', message = 'The job that it is a part of has ended.'})
      tell(part, {event = 'cancelled', ms = ms})
      redis.call('PUBLISH', 'hive:cancel', id)
    end
  end
end

-- A part has ended: the whole goes on when it was the last one, and fails where it has failed.
local function note_part(part, id, ms, state)
  local whole = redis.call('HGET', part, 'parent')
  local job = 'hive:job:' .. (whole or '')
  if not whole or redis.call('SREM', job .. ':parts', id) == 0 then return end
  local total = tonumber(redis.call('HGET', job, 'divided') or 0)
  if total == 0 then return end
  local left = redis.call('SCARD', job .. ':parts')
  if state ~= 'succeeded' then
    local error = cjson.decode(redis.call('HGET', part, 'error') or '{"message": "it was cancelled"}')
    local message = 'Its part ' .. string.sub(id, 1, 8) .. ' ' .. state .. ': ' .. error.message
    finish(job, whole, ms, 'failed', {kind = 'part-failed', message = message})
    tell(job, {event = 'failed', ms = ms, kind = 'part-failed', part = id})
  elseif left > 0 then
    local progress = {done = total - left, total = total, unit = 'parts', message = ''}
    redis.call('HSET', job, 'progress', cjson.encode(progress))
    redis.call('PUBLISH', job, 'progress')
  else
    wait_again(job, whole, ms)
    tell(job, {event = 'parts done', ms = ms, parts = total})
  end
end

-- The specification is JSON that begins with capability and task; all of it need not be read for a name.
local function count_end(specification, started, cost, ms, state)
  local task = task_of(specification)
  redis.call('HINCRBY', 'hive:totals', 'ended ' .. task .. ' ' .. state, 1)
  if started then
    local took, within = ms - started, 'inf'
    for _, bound in ipairs(BOUNDS) do
      if took <= bound * 1000 then within = bound break end
    end
    redis.call('HINCRBY', 'hive:totals', 'run ' .. task .. ' ' .. within, 1)
    redis.call('HINCRBY', 'hive:totals', 'run_ms ' .. task, took)
  end
  if cost and cost ~= 'null' then redis.call('HINCRBY', 'hive:totals', 'priced ' .. task, 1) end
end

finish = function(job, id, ms, state, error)
  pay(job, ms)
  local kept = redis.call('HMGET', job, 'queue', 'specification', 'started_ms', 'cost_usd')
  local queue = kept[1]
  count_end(kept[2], kept[3], kept[4], ms, state)
  redis.call('HSET', job, 'state', state, 'finished_ms', ms)
  if error then redis.call('HSET', job, 'error', cjson.encode(error)) end
  redis.call('ZREM', 'hive:waiting:' .. queue, id)
  redis.call('ZREM', 'hive:running:' .. queue, id)
  redis.call('ZREM', 'hive:leases:' .. queue, id)
  redis.call('ZADD', 'hive:finished:' .. queue, ms, id)
  redis.call('HDEL', job, 'divided')
  end_parts(job, ms)
  note_part(job, id, ms, state)
end

-- An attempt ended without a result. It counts; after the last allowed one the job is failed, with the reason. One of
-- which nothing was heard any more is paid until its lease ended.
local function lose(job, id, ms, reason, leased)
  pay(job, (leased or 0) > 0 and math.min(ms, leased) or ms)
  local kept = redis.call('HMGET', job, 'attempts', 'worker', 'host', 'most_losses', 'peak_memory_bytes')
  local losses = redis.call('HINCRBY', job, 'losses', 1)
  tell(job, {event = 'lost', ms = ms, attempt = tonumber(kept[1]), worker = kept[2], reason = reason})
  if losses < tonumber(kept[4]) then
    wait_again(job, id, ms)
    return
  end
  local message = 'started ' .. losses .. ' times and never finished: ' .. reason .. '; the last worker was '
    .. kept[2] .. ' on ' .. kept[3]
  if kept[5] then message = message .. ', peak memory ' .. math.floor(kept[5] / 1048576) .. ' MiB' end
  finish(job, id, ms, 'failed', {kind = 'worker-lost', message = message})
  tell(job, {event = 'failed', ms = ms, kind = 'worker-lost'})
end

local function is_newest(job, attempt)
  local kept = redis.call('HMGET', job, 'state', 'attempts', 'divided')
  return kept[1] == 'running' and kept[2] == tostring(attempt) and not kept[3]
end
""".replace("BOUNDS", "{" + ", ".join(f"{bound:g}" for bound in RUN_BOUNDS_S) + "}").replace(
    "DAY_MS", str(DAY_S * 1000)
)

# KEYS: jobs. ARGV: queue, most losses, then id and specification of each. Returns the ids that were free and are
# created. Their order is kept within the millisecond: it is that of their messages, which the sweep relies on.
CREATE = (
    _COMMON
    + """
local queue, ms, created, times = ARGV[1], now(), {}, {}
local story = told({event = 'submitted', ms = ms, queue = queue})
for number, job in ipairs(KEYS) do
  local id = ARGV[2 * number + 1]
  if redis.call('EXISTS', job) == 0 then
    redis.call('HSET', job, 'specification', ARGV[2 * number + 2], 'state', 'queued', 'queue', queue,
      'submitted_ms', ms, 'most_losses', ARGV[2], 'story', story)
    redis.call('PUBLISH', job, 'submitted')
    local last = #times
    times[last + 1], times[last + 2] = ms + #created / 1000, id
    created[#created + 1] = id
  end
end
if #created == 0 then return created end
redis.call('ZADD', 'hive:jobs', unpack(times))
redis.call('ZADD', 'hive:waiting:' .. queue, unpack(times))
redis.call('SADD', 'hive:queues', queue)
return created
"""
)

# KEYS: job. ARGV: id. Removes a job and everything that names it.
FORGET = """
local queue = redis.call('HGET', KEYS[1], 'queue')
if not queue then return 0 end
redis.call('ZREM', 'hive:jobs', ARGV[1])
for _, key in ipairs({'waiting', 'running', 'leases', 'finished'}) do
  redis.call('ZREM', 'hive:' .. key .. ':' .. queue, ARGV[1])
end
return redis.call('DEL', KEYS[1], KEYS[1] .. ':log', KEYS[1] .. ':parts')
"""

# KEYS: job. ARGV: id, worker, host, lease [ms], price of a slot [US$/h] or ''. Returns the attempt's number; 0 where
# there is nothing to do: the job is finished or unknown, or another attempt is alive (this message is then a copy that
# nobody needs).
START = (
    _COMMON
    + """
local job, id, lease = KEYS[1], ARGV[1], tonumber(ARGV[4])
local ms = now()
pulse(ms, lease)
if redis.call('HEXISTS', job, 'divided') == 1 then return 0 end
local queue = redis.call('HGET', job, 'queue')
if redis.call('HGET', job, 'state') == 'running' then
  local ends = tonumber(redis.call('ZSCORE', 'hive:leases:' .. queue, id) or 0)
  if ends > ms or is_away(ms) then return 0 end
  lose(job, id, ms, 'its worker vanished', ends)
end
if redis.call('HGET', job, 'state') ~= 'queued' then return 0 end
local attempt = redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSET', job, 'state', 'running', 'started_ms', ms, 'worker', ARGV[2], 'host', ARGV[3],
  'slot_usd_per_h', ARGV[5])
redis.call('HDEL', job, 'progress', 'peak_memory_bytes')
redis.call('ZREM', 'hive:waiting:' .. queue, id)
redis.call('ZADD', 'hive:running:' .. queue, ms, id)
redis.call('ZADD', 'hive:leases:' .. queue, ms + lease, id)
tell(job, {event = 'started', ms = ms, attempt = attempt, worker = ARGV[2], host = ARGV[3]})
return attempt
"""
)

# KEYS: job. ARGV: attempt, where this part of its log starts and ends, progress or '', most lines, and for each line
# its time [ms], level, text, and for how many others it stands that are left out, or 0. A part that does not start
# where the attempt's log ends is not kept; returns where it ends then, and '' where all is well. A log that has become
# too long, or too heavy with 1 KiB for each line, loses its oldest lines.
LOG = (
    _COMMON
    + """
local job, attempt, most, log = KEYS[1], ARGV[1], tonumber(ARGV[5]), KEYS[1] .. ':log'
if redis.call('EXISTS', job) == 0 then return '' end
local at = redis.call('HGET', job, 'log_at_' .. attempt) or '0 0 0'
if at ~= ARGV[2] then return at end
redis.call('HSET', job, 'log_at_' .. attempt, ARGV[3])
if ARGV[4] ~= '' and is_newest(job, attempt) then
  redis.call('HSET', job, 'progress', ARGV[4])
  redis.call('PUBLISH', job, 'progress')
end
if #ARGV == 5 then return '' end
local new = 0
for n = 6, #ARGV, 4 do
  local entry = {'ms', ARGV[n], 'level', ARGV[n + 1], 'attempt', attempt, 'text', ARGV[n + 2], 'for', ARGV[n + 3]}
  redis.call('XADD', log, '*', unpack(entry, 1, ARGV[n + 3] == '0' and 8 or 10))
  new = new + #ARGV[n + 2] + 1
end
local lines, bytes = redis.call('XLEN', log), redis.call('HINCRBY', job, 'log_bytes', new)
local keep = math.min(most, math.floor(lines * most * 1024 / bytes))
if keep < lines then
  local dropped = 0
  for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', lines - keep)) do
    dropped = dropped + (entry[2][10] or 1)
  end
  redis.call('XTRIM', log, 'MAXLEN', keep)
  redis.call('HSET', job, 'log_bytes', math.floor(bytes * keep / lines))
  redis.call('HINCRBY', job, 'log_dropped', dropped)
end
return ''
"""
)

# KEYS: job. ARGV: attempt, checkpoint.
CHECKPOINT = (
    _COMMON
    + """
if not is_newest(KEYS[1], ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'checkpoint', ARGV[2])
return 1
"""
)

# KEYS: job. ARGV: id, attempt, state, outputs, measures, error or '', bytes that it read or ''. Returns 1 where this
# attempt's result is kept.
FINISH = (
    _COMMON
    + """
local job, id = KEYS[1], ARGV[1]
if not is_newest(job, ARGV[2]) then return 0 end
local ms = now()
if ARGV[4] ~= '{}' then redis.call('HSET', job, 'outputs', ARGV[4]) end
if ARGV[5] ~= '{}' then redis.call('HSET', job, 'measures', ARGV[5]) end
if (tonumber(ARGV[7]) or 0) > 0 then redis.call('HSET', job, 'input_bytes', ARGV[7]) end
if ARGV[3] == 'succeeded' then
  redis.call('HDEL', job, 'checkpoint', 'most_losses')
  -- It will not be sent again, and a signature takes as much memory as all the rest of a short specification.
  local unsigned = string.gsub(redis.call('HGET', job, 'specification'), ',"signature":"[^"]*"}$', '}')
  redis.call('HSET', job, 'specification', unsigned)
end
finish(job, id, ms, ARGV[3], ARGV[6] ~= '' and cjson.decode(ARGV[6]) or nil)
tell(job, {event = ARGV[3], ms = ms, attempt = tonumber(ARGV[2])})
return 1
"""
)

# KEYS: job. ARGV: id, attempt, reason. An attempt has died: it counts.
LOSE = (
    _COMMON
    + """
if not is_newest(KEYS[1], ARGV[2]) then return 0 end
lose(KEYS[1], ARGV[1], now(), ARGV[3])
return 1
"""
)

# KEYS: job. ARGV: id, attempt, reason. An attempt was stopped on purpose: it does not count.
RELEASE = (
    _COMMON
    + """
if not is_newest(KEYS[1], ARGV[2]) then return 0 end
local ms = now()
pay(KEYS[1], ms)
wait_again(KEYS[1], ARGV[1], ms)
tell(KEYS[1], {event = 'stopped', ms = ms, attempt = tonumber(ARGV[2]), reason = ARGV[3]})
return 1
"""
)

# KEYS: job. ARGV: id, attempt, all plans so far, then the id of each part. The job gives up its slot and waits for
# these parts; where all of them are done, it is queued at once.
DIVIDE = (
    _COMMON
    + """
local job, id = KEYS[1], ARGV[1]
if not is_newest(job, ARGV[2]) then return 0 end
local ms, total, failed = now(), #ARGV - 3, nil
local queue = redis.call('HGET', job, 'queue')
pay(job, ms)
redis.call('HSET', job, 'divided', total, 'plans', ARGV[3])
redis.call('ZREM', 'hive:running:' .. queue, id)
redis.call('ZREM', 'hive:leases:' .. queue, id)
tell(job, {event = 'divided', ms = ms, attempt = tonumber(ARGV[2]), parts = total})
for n = 4, #ARGV do
  local part = 'hive:job:' .. ARGV[n]
  redis.call('HSET', part, 'parent', id)
  redis.call('ZREM', 'hive:jobs', ARGV[n])
  redis.call('SADD', job .. ':parts', ARGV[n])
end
for n = 4, #ARGV do
  local part = 'hive:job:' .. ARGV[n]
  local state = redis.call('HGET', part, 'state')
  if state ~= 'queued' and state ~= 'running' then note_part(part, ARGV[n], ms, state) end
end
if total == 0 then wait_again(job, id, ms) end
return 1
"""
)

# KEYS: job. ARGV: id. Returns 1 where the job is cancelled now, 0 where it had ended before.
CANCEL = (
    _COMMON
    + """
local job, id = KEYS[1], ARGV[1]
local state = redis.call('HGET', job, 'state')
if state ~= 'queued' and state ~= 'running' then return 0 end
local ms = now()
finish(job, id, ms, 'cancelled', {kind = 'cancelled', message = 'It was cancelled.'})
tell(job, {event = 'cancelled', ms = ms})
redis.call('PUBLISH', 'hive:cancel', id)
return 1
"""
)

# KEYS: job. ARGV: id. A failed or cancelled job gets a new series of attempts. Returns 1, or 0 where it is neither.
RETRY = (
    _COMMON
    + """
local job, id = KEYS[1], ARGV[1]
local state = redis.call('HGET', job, 'state')
if state ~= 'failed' and state ~= 'cancelled' then return 0 end
local ms = now()
redis.call('HSET', job, 'losses', 0)
redis.call('HDEL', job, 'error', 'finished_ms', 'outputs', 'measures')
wait_again(job, id, ms)
tell(job, {event = 'retried', ms = ms})
return 1
"""
)

# KEYS: index of deliveries. ARGV: lease [ms], JSON {"jobs": [[id, attempt, peak memory], …], "tags": [tag, …]}.
# Returns "id.attempt" of each attempt that is not the newest one any more; its work is for nobody. An attempt that has
# only just ended its job by itself is none of these.
RENEW = (
    _COMMON
    + """
local function has_ended_itself(job, attempt)
  local kept = redis.call('HMGET', job, 'state', 'attempts', 'error')
  if kept[2] ~= tostring(attempt) then return false end
  return kept[1] == 'succeeded' or kept[1] == 'failed' and cjson.decode(kept[3] or '{}').kind ~= 'worker-lost'
end

local lease, held = tonumber(ARGV[1]), cjson.decode(ARGV[2])
local ms, stale = now(), {}
pulse(ms, lease)
for _, entry in ipairs(held.jobs) do
  local job = 'hive:job:' .. entry[1]
  if is_newest(job, entry[2]) then
    redis.call('ZADD', 'hive:leases:' .. redis.call('HGET', job, 'queue'), 'XX', ms + lease, entry[1])
    if entry[3] > 0 then redis.call('HSET', job, 'peak_memory_bytes', entry[3]) end
  elseif not has_ended_itself(job, entry[2]) then
    stale[#stale + 1] = entry[1] .. '.' .. entry[2]
  end
end
for _, tag in ipairs(held.tags) do redis.call('ZADD', KEYS[1], 'XX', ms / 1000, tag) end
return stale
"""
)

# KEYS: leases of a queue. ARGV: lease [ms], most. Takes back jobs whose lease has ended; returns their ids.
EXPIRE = (
    _COMMON
    + """
local ms = now()
pulse(ms, tonumber(ARGV[1]))
if is_away(ms) then return {} end
local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms, 'LIMIT', 0, ARGV[2])
for _, id in ipairs(expired) do
  lose('hive:job:' .. id, id, ms, 'its worker vanished', tonumber(redis.call('ZSCORE', KEYS[1], id)))
end
return expired
"""
)

# KEYS: who sweeps a queue, for each. ARGV: worker, for how long [ms], lease [ms], for how long [ms] a worker is there
# after its last report, the lists that these queues are made of. Takes the queues that nobody else sweeps. Returns how
# many workers there are, how many messages wait, and for each queue 1 or 0.
CLAIM = (
    _COMMON
    + """
local ms = now()
pulse(ms, tonumber(ARGV[3]))
local found = {redis.call('ZCOUNT', 'hive:workers', (ms - ARGV[4]) / 1000, '+inf'), 0}
for n = 5, #ARGV do found[2] = found[2] + redis.call('LLEN', ARGV[n]) end
for n, key in ipairs(KEYS) do
  local sweeper = redis.call('GET', key)
  local is_mine = not sweeper or sweeper == ARGV[1]
  if is_mine then redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
  found[n + 2] = is_mine and 1 or 0
end
return found
"""
)

# What an earlier Hive kept for all queues together goes to each queue's own; a lease that nobody renews there ends.
SPLIT = """
for _, name in ipairs({'hive:leases', 'hive:finished'}) do
  local kept = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')
  for n = 1, #kept, 2 do
    local queue = redis.call('HGET', 'hive:job:' .. kept[n], 'queue')
    if queue then redis.call('ZADD', name .. ':' .. queue, kept[n + 1], kept[n]) end
  end
  redis.call('DEL', name)
end
redis.call('DEL', 'hive:ids')
"""
