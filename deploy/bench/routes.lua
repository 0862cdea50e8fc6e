-- As report.lua, for whoever is signed in with TOKEN. A path that ends with a slash is asked for one of
-- the ids in IDS_FILE after the other; to /snapshots the same BATCH of them is written again and again.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
wrk.headers["Authorization"] = "Bearer " .. os.getenv("TOKEN")

local requests, next_one = {}, 0

local function snapshots()
  local types, now, items = { "cpu", "memory", "disk", "network" }, os.time(), {}
  for n = 1, tonumber(os.getenv("BATCH")) do
    items[n] = string.format(
      '{"timestamp":"%s","source":"bench","metric_type":"%s","metric_data":{"unit":"percent","value":%.2f}}',
      os.date("!%Y-%m-%dT%H:%M:%SZ", now - n), types[n % 4 + 1], n / 10)
  end
  return '{"items":[' .. table.concat(items, ",") .. "]}"
end

function init()
  if wrk.path:sub(-10) == "/snapshots" then
    wrk.headers["Content-Type"] = "application/json"
    requests[1] = wrk.format("POST", wrk.path, nil, snapshots())
    return
  end
  if wrk.path:sub(-1) ~= "/" then
    requests[1] = wrk.format()
    return
  end
  for id in io.lines(os.getenv("IDS_FILE")) do
    requests[#requests + 1] = wrk.format("GET", wrk.path .. id)
  end
end

function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end
