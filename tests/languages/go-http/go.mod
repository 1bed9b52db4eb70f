module example.com/gohttp

go 1.24

require coracle.dev/sdk v0.0.0

replace coracle.dev/sdk => ../../../sdk/go
