;; Takes memory, 1 MiB at a time, and touches every page of it, until it is refused; a refusal traps.
(module
  (memory (export "memory") 1)
  (func (export "_start") (local $at i32)
    (loop $again
      (local.set $at (memory.grow (i32.const 16)))
      (if (i32.eq (local.get $at) (i32.const -1)) (then unreachable))
      (memory.fill (i32.mul (local.get $at) (i32.const 65536)) (i32.const 1) (i32.const 1048576))
      (br $again))))
