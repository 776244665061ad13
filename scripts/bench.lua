-- The load of scripts/bench, for wrk: each request is a new message of a random
-- user. Called as `wrk ... -s bench.lua URL -- PREFIX USERS [close]`; PREFIX
-- starts the ids of this run, `close` makes it one connection per request.
-- Ends with one line of JSON.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

-- From here to request(): once in each thread, which has variables of its own.
local head, prefix, users
local sent = 0

function init(args)
  prefix = args[1] .. "-" .. number .. "-"
  users = tonumber(args[2])
  math.randomseed(number)
  head = "POST /http HTTP/1.1\r\nHost: " .. wrk.host
    .. "\r\nContent-Type: application/json\r\n"
    .. (args[3] == "close" and "Connection: close\r\n" or "")
    .. "Content-Length: "
end

function request()
  sent = sent + 1
  local body = '{"user_id":"u' .. math.random(users)
    .. '","text":"hi","id":"' .. prefix .. sent .. '"}'
  return head .. #body .. "\r\n\r\n" .. body
end

-- Times are microseconds. `status` counts the answers above 399.
function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '\n{"answers":%d,"microseconds":%d,"non_2xx":%d,"broken":%d,"timeouts":%d,'
      .. '"p50_us":%d,"p99_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write, e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
