module github.com/upshift-go/upshift

go 1.26
