;; Asks for a host function that no host has.
(module
  (import "acme:teleport" "beam-me-up" (func $beam (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $beam (i32.const 1)))))
