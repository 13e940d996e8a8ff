package workflows

import (
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/temporal"
)

// matchAll matches every update of search attributes and keeps the values.
func matchAll(into map[string]string) any {
	return mock.MatchedBy(func(sa temporal.SearchAttributes) bool {
		for key, value := range sa.GetUntypedValues() {
			into[key.GetName()] = value.(string)
		}
		return true
	})
}
