"""The Lua scripts that change a job's record: each change is one atomic step, timed by Redis' own clock.

Keys, all under `hive:`
    job:ID          hash: specification, state, times, attempts, worker, progress, outputs, measures, error
    job:ID:story    list of JSON, every change with its time
    jobs            sorted set of ids by time of submission
    ids             the same ids in dictionary order, so that a prefix finds its job
    waiting:QUEUE   sorted set of queued ids by the time since which they wait
    running:QUEUE   sorted set of running ids by the time of their start
    queues          the queues that have ever had a job
The attempt number is the fencing token: a change that comes from an attempt which is not the newest does nothing.
"""

_COMMON = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function tell(job, event)
  redis.call('RPUSH', job .. ':story', cjson.encode(event))
  redis.call('PUBLISH', job, event.event)
end
"""

# KEYS: job. ARGV: id, specification, queue. Returns 1, or 0 where the id is taken.
CREATE = (
    _COMMON
    + """
local job, id, queue = KEYS[1], ARGV[1], ARGV[3]
if redis.call('EXISTS', job) == 1 then return 0 end
local ms = now()
redis.call('HSET', job, 'specification', ARGV[2], 'state', 'queued', 'queue', queue, 'submitted_ms', ms)
redis.call('ZADD', 'hive:jobs', ms, id)
redis.call('ZADD', 'hive:ids', 0, id)
redis.call('ZADD', 'hive:waiting:' .. queue, ms, id)
redis.call('SADD', 'hive:queues', queue)
tell(job, {event = 'submitted', ms = ms, queue = queue})
return 1
"""
)

# KEYS: job. ARGV: id. Removes a job that was never sent.
FORGET = """
local queue = redis.call('HGET', KEYS[1], 'queue')
if not queue then return 0 end
redis.call('ZREM', 'hive:jobs', ARGV[1])
redis.call('ZREM', 'hive:ids', ARGV[1])
redis.call('ZREM', 'hive:waiting:' .. queue, ARGV[1])
return redis.call('DEL', KEYS[1], KEYS[1] .. ':story')
"""

# KEYS: job. ARGV: id, worker, host, most attempts. Returns the attempt's number; 0 where there is nothing (more) to do.
START = (
    _COMMON
    + """
local job, id = KEYS[1], ARGV[1]
local kept = redis.call('HMGET', job, 'state', 'queue', 'attempts', 'worker')
local state, queue, attempts, last = kept[1], kept[2], tonumber(kept[3] or 0), kept[4]
if state ~= 'queued' and state ~= 'running' then return 0 end
local ms = now()
redis.call('ZREM', 'hive:waiting:' .. queue, id)
if state == 'running' then tell(job, {event = 'lost', ms = ms, attempt = attempts, worker = last}) end
if attempts >= tonumber(ARGV[4]) then
  local message = 'started ' .. attempts .. ' times and never finished; its worker died each time, the last was '
    .. (last or 'unknown')
  redis.call('HSET', job, 'state', 'failed', 'finished_ms', ms,
    'error', cjson.encode({kind = 'worker-lost', message = message}))
  redis.call('ZREM', 'hive:running:' .. queue, id)
  tell(job, {event = 'failed', ms = ms, kind = 'worker-lost'})
  return 0
end
attempts = redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSET', job, 'state', 'running', 'started_ms', ms, 'worker', ARGV[2], 'host', ARGV[3])
redis.call('HDEL', job, 'progress')
redis.call('ZADD', 'hive:running:' .. queue, ms, id)
tell(job, {event = 'started', ms = ms, attempt = attempts, worker = ARGV[2], host = ARGV[3]})
return attempts
"""
)

# KEYS: job. ARGV: attempt, progress.
PROGRESS = """
local kept = redis.call('HMGET', KEYS[1], 'state', 'attempts')
if kept[1] ~= 'running' or kept[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'progress', ARGV[2])
redis.call('PUBLISH', KEYS[1], 'progress')
return 1
"""

# KEYS: job. ARGV: id, attempt, state, outputs, measures, error or ''. Returns 1 where this attempt's result is kept.
FINISH = (
    _COMMON
    + """
local job, id = KEYS[1], ARGV[1]
local kept = redis.call('HMGET', job, 'state', 'attempts', 'queue')
if kept[1] ~= 'running' or kept[2] ~= ARGV[2] then return 0 end
local ms = now()
redis.call('HSET', job, 'state', ARGV[3], 'finished_ms', ms, 'outputs', ARGV[4], 'measures', ARGV[5])
if ARGV[6] ~= '' then redis.call('HSET', job, 'error', ARGV[6]) end
redis.call('ZREM', 'hive:running:' .. kept[3], id)
tell(job, {event = ARGV[3], ms = ms, attempt = tonumber(ARGV[2])})
return 1
"""
)
