module coracle.dev/sdk

go 1.24
