module coracle.dev/languages

go 1.25

require coracle.dev/sdk v0.0.0

replace coracle.dev/sdk => ../../../sdk/go
