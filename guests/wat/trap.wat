;; Traps three calls deep: the backtrace names $outer, $middle and $inner.
(module
  (memory (export "memory") 1)
  (func $inner unreachable)
  (func $middle (call $inner))
  (func $outer (call $middle))
  (func (export "_start") (call $outer)))
