;; Ends at once with 0 if its first argument is "0"; otherwise sleeps for ever.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (drop (call $args_get (i32.const 8) (i32.const 65536)))
    ;; "0" and its end.
    (if (i32.ne (i32.load16_u (i32.load (i32.const 12))) (i32.const 48)) (then (call $sleep))))
  (func $sleep
    ;; One subscription at 512 (see sleeper.wat).
    (i32.store (i32.const 528) (i32.const 1))
    (i64.store (i32.const 536) (i64.const 3600000000000))
    (loop $again
      (drop (call $poll_oneoff (i32.const 512) (i32.const 640) (i32.const 1) (i32.const 704)))
      (br $again))))
