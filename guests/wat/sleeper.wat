;; Sleeps by poll_oneoff, an hour at a time, for ever.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    ;; One subscription at 0 (48 bytes): userdata, tag 0 (clock) at 8, clock id 1 (monotonic) at 16,
    ;; timeout in nanoseconds at 24, precision at 32, flags at 40.
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (loop $again
      (drop (call $poll_oneoff (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
      (br $again))))
