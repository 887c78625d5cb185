-- KEYS: jobs. ARGV: queue, most losses, then id and specification of each. Returns the ids that were free and are
-- created. Their order is kept within the millisecond: it is that of their messages, which the sweep relies on.
-- include _time
-- include _story

local queue, ms, created, times = ARGV[1], now(), {}, {}
local story = story_line({event = 'submitted', ms = ms, queue = queue})
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
redis.call('ZADD', key.jobs, unpack(times))
redis.call('ZADD', key.waiting .. queue, unpack(times))
redis.call('SADD', key.queues, queue)
return created
