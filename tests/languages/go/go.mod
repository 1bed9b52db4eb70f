module coracle.dev/languages

go 1.25
