-- A line of a job's story: time [ms], event and further facts, with tabs between.
local function story_line(event)
  local name, ms = event.event, event.ms
  event.event, event.ms = nil, nil
  return string.format('%.0f', ms) .. '\t' .. name .. (next(event) and '\t' .. cjson.encode(event) or '')
end

-- Adds an event to a job's story, and publishes its name on the job's channel.
local function tell(job, event)
  local name, before = event.event, redis.call('HGET', job, 'story')
  redis.call('HSET', job, 'story', (before and before .. '\n' or '') .. story_line(event))
  redis.call('PUBLISH', job, name)
end
