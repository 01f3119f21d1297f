;; Waits for the pod's shutdown signal (skiff:pod for core modules, wit/README.md), writes "bye" and exits with 0.
(module
  (import "skiff:pod" "wait_shutdown" (func $wait_shutdown (param i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "waiting\nbye\n")
  (func $write (param $from i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (call $write (i32.const 16) (i32.const 8))
    (drop (call $wait_shutdown (i64.const -1)))
    (call $write (i32.const 24) (i32.const 4))))
