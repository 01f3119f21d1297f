;; Fails with 1 the first time that it sees the folder mounted at /data, and leaves a mark there; then ends with 0.
(module
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "/dat")
  (data (i32.const 32) "mark")
  (func (export "_start") (local $fd i32)
    (local.set $fd (i32.const 3))
    (block $found
      (loop $next
        (i32.store (i32.const 48) (i32.const 0))
        (drop (call $name (local.get $fd) (i32.const 48) (i32.const 5)))
        (br_if $found (i32.eq (i32.load (i32.const 48)) (i32.load (i32.const 16))))
        (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $fd) (i32.const 64))))
      (call $proc_exit (i32.const 3)))
    ;; Create (1) and exclusive (4): that works once.
    (if (i32.eqz (call $open (local.get $fd) (i32.const 0) (i32.const 32) (i32.const 4) (i32.const 5)
                        (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 64)))
      (then (call $proc_exit (i32.const 1))))))
