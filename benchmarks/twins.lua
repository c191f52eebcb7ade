-- The kernels of kernels.py for LuaJIT, whose only numbers are doubles: those that stay within 2^53.
--
-- `luajit twins.lua NAME SECONDS ROUNDS ARGUMENT...` prints what kernels.py prints under pypy3. Timing follows timing.py; os.clock is processor time, fine for kernels that
-- never wait.

local floor, sqrt, abs, sin = math.floor, math.sqrt, math.abs, math.sin

local WARM_UP = 0.25
local kernels = {}

function kernels.sum_squares(count)
  local total = 0
  for i = 0, count - 1 do total = total + i * i end
  return total
end

function kernels.mandelbrot(width, height, limit)
  local total = 0
  for row = 0, height - 1 do
    local ci = 2.4 * row / height - 1.2
    for column = 0, width - 1 do
      local cr = 3.2 * column / width - 2.3
      local x, y, steps = 0.0, 0.0, 0
      while steps < limit and x * x + y * y <= 4.0 do
        x, y = x * x - y * y + cr, 2.0 * x * y + ci
        steps = steps + 1
      end
      total = total + steps
    end
  end
  return total
end

function kernels.collatz(limit)
  local best, best_length = 1, 1
  for start = 1, limit - 1 do
    local number, length = start, 1
    while number ~= 1 do
      if number % 2 == 1 then number = 3 * number + 1 else number = number / 2 end
      length = length + 1
    end
    if length > best_length then best, best_length = start, length end
  end
  return best
end

function kernels.gcd_sum(limit)
  local total = 0
  for left = 1, limit - 1 do
    for right = 1, left - 1 do
      local a, b = left, right
      while b ~= 0 do a, b = b, a % b end
      total = total + a
    end
  end
  return total
end

function kernels.nbody(steps, dt)
  local ax, ay, au, av = 0.97, -0.243, 0.4662, 0.4324
  local bx, by, bu, bv = -0.97, 0.243, 0.4662, 0.4324
  local cx, cy, cu, cv = 0.0, 0.0, -0.9324, -0.8647
  for _ = 1, steps do
    local abx, aby = bx - ax, by - ay
    local bcx, bcy = cx - bx, cy - by
    local cax, cay = ax - cx, ay - cy
    local ab = abx * abx + aby * aby
    local bc = bcx * bcx + bcy * bcy
    local ca = cax * cax + cay * cay
    local fab = dt / (ab * sqrt(ab))
    local fbc = dt / (bc * sqrt(bc))
    local fca = dt / (ca * sqrt(ca))
    au = au + (fab * abx - fca * cax)
    av = av + (fab * aby - fca * cay)
    bu = bu + (fbc * bcx - fab * abx)
    bv = bv + (fbc * bcy - fab * aby)
    cu = cu + (fca * cax - fbc * bcx)
    cv = cv + (fca * cay - fbc * bcy)
    ax = ax + dt * au
    ay = ay + dt * av
    bx = bx + dt * bu
    by = by + dt * bv
    cx = cx + dt * cu
    cy = cy + dt * cv
  end
  return ax + 2.0 * ay + 3.0 * bx + 4.0 * by + 5.0 * cx + 6.0 * cy
end

function kernels.lcg_pi(darts)
  local state, inside = 12345, 0
  for _ = 1, darts do
    state = (state * 1664525 + 1013904223) % 4294967296
    local x = state / 4294967296.0
    state = (state * 1664525 + 1013904223) % 4294967296
    local y = state / 4294967296.0
    if x * x + y * y < 1.0 then inside = inside + 1 end
  end
  return 4.0 * inside / darts
end

function kernels.newton_sqrt(count)
  local total = 0.0
  for number = 1, count - 1 do
    local root = number
    while abs(root * root - number) > 1e-9 * number do
      root = 0.5 * (root + number / root)
    end
    total = total + root
  end
  return total
end

function kernels.horner(count)
  local total = 0.0
  for i = 0, count - 1 do
    local x = i / count
    total = total + (((((1.5 * x - 2.25) * x + 0.125) * x + 3.0) * x - 0.75) * x + 1.0)
  end
  return total
end

function kernels.trial_division(limit)
  local primes = 0
  for number = 2, limit - 1 do
    local divisor = 2
    while divisor * divisor <= number and number % divisor ~= 0 do divisor = divisor + 1 end
    if divisor * divisor > number then primes = primes + 1 end
  end
  return primes
end

function kernels.calendar(days)
  local total = 0
  for day = -days, days - 1 do
    local year = floor(day * 400 / 146097)
    local first = year * 365 + floor((year + 3) / 4) - floor((year + 99) / 100) + floor((year + 399) / 400)
    if first > day then
      year = year - 1
      first = first - ((year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)) and 366 or 365)
    end
    total = total + (day % 7) * (day - first)
  end
  return total
end

function kernels.logistic(steps, rate)
  local x = 0.5
  for _ = 1, steps do x = rate * x * (1.0 - x) end
  return x
end

function kernels.digit_sums(limit)
  local total = 0
  for number = 0, limit - 1 do
    local rest = number
    while rest > 0 do
      total = total + rest % 10
      rest = floor(rest / 10)
    end
  end
  return total
end

function kernels.simpson(strips, width)
  local step, total = width / strips, 0.0
  for i = 0, strips do
    local x = i * step
    local y = x ^ 2 + 3.0 * x
    if i == 0 or i == strips then
      total = total + y
    elseif i % 2 == 1 then
      total = total + 4.0 * y
    else
      total = total + 2.0 * y
    end
  end
  return total * step / 3.0
end

local function add(x, y) return x + y end

function kernels.add(calls)
  local total = 0
  for i = 0, calls - 1 do total = add(total, i) end
  return total
end

function kernels.sin_pow(count)
  local total = 0.0
  for i = 1, count - 1 do
    local x = i * 0.001
    total = total + sin(x) * x ^ 1.5
  end
  return total
end

function kernels.sieve(limit)
  local composite, primes = {}, 0
  for number = 0, limit - 1 do composite[number] = false end
  for number = 2, limit - 1 do
    if not composite[number] then
      primes = primes + 1
      for multiple = number * number, limit - 1, number do composite[multiple] = true end
    end
  end
  return primes
end

function kernels.fib(n)
  if n < 2 then return n end
  return kernels.fib(n - 1) + kernels.fib(n - 2)
end

function kernels.tak(x, y, z)
  if y >= x then return z end
  local tak = kernels.tak
  return tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y))
end

function kernels.ackermann(m, n)
  if m == 0 then return n + 1 end
  if n == 0 then return kernels.ackermann(m - 1, 1) end
  return kernels.ackermann(m - 1, kernels.ackermann(m, n - 1))
end

function kernels.queens(size, row, columns, down, up)
  if row == size then return 1 end
  local count = 0
  local free = bit.band(bit.lshift(1, size) - 1, bit.bnot(bit.bor(columns, down, up)))
  while free ~= 0 do
    local place = bit.band(free, -free)
    free = bit.bxor(free, place)
    count = count + kernels.queens(
      size, row + 1, bit.bor(columns, place), bit.lshift(bit.bor(down, place), 1), bit.rshift(bit.bor(up, place), 1))
  end
  return count
end

local function curve(x) return x * x * x - 2.0 * x + 1.0 end

local function integral(f, start, stop, strips)
  local step = (stop - start) / strips
  local total = f(start) + f(stop)
  for i = 1, strips - 1 do
    total = total + (i % 2 == 1 and 4.0 or 2.0) * f(start + i * step)
  end
  return total * step / 3.0
end

function kernels.integrate(strips) return integral(curve, 0.0, 2.0, strips) end

local function seconds_per_call(call, loops)
  local start = os.clock()
  for _ = 1, loops do call() end
  return (os.clock() - start) / loops
end

local function loops_for(call, at_least)
  local loops = 1
  while true do
    local taken = seconds_per_call(call, loops) * loops
    if taken >= at_least then return loops end
    loops = math.max(loops + 1, math.min(loops * 10, floor(1.1 * loops * at_least / math.max(taken, 1e-9))))
  end
end

local kernel = kernels[arg[1]]
local at_least, rounds = tonumber(arg[2]), tonumber(arg[3])
local values = {}
for position = 4, #arg do values[#values + 1] = tonumber(arg[position]) end
local function call() return kernel(unpack(values)) end

local stop = os.clock() + WARM_UP
while os.clock() < stop do call() end
local loops = loops_for(call, at_least)
local samples = {}
for _ = 1, rounds do samples[#samples + 1] = string.format("%.17g", seconds_per_call(call, loops)) end
local answer = '{"result": %.17g, "loops": %d, "samples": [%s]}'
print(string.format(answer, call(), loops, table.concat(samples, ", ")))
