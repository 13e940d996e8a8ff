package process

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/defectforge/defectforge/workflows"
)

// MissingSearchAttributes lists those that runs set and the namespace lacks.
func MissingSearchAttributes(ctx context.Context, c client.Client, namespace string) ([]string, error) {
	have, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return nil, fmt.Errorf("list search attributes: %w", err)
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(workflows.SearchAttributes())) {
		if _, ok := have.GetCustomAttributes()[name]; !ok {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// EnsureSearchAttributes registers what is missing. Where that is not
// permitted, it returns the names with the error.
func EnsureSearchAttributes(ctx context.Context, c client.Client, namespace string) ([]string, error) {
	missing, err := MissingSearchAttributes(ctx, c, namespace)
	if err != nil {
		return slices.Sorted(maps.Keys(workflows.SearchAttributes())), err
	}
	if len(missing) == 0 {
		return nil, nil
	}
	types := map[string]enumspb.IndexedValueType{}
	for _, name := range missing {
		kind, err := enumspb.IndexedValueTypeFromString(workflows.SearchAttributes()[name])
		if err != nil {
			return missing, fmt.Errorf("type of search attribute %s: %w", name, err)
		}
		types[name] = kind
	}
	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: namespace, SearchAttributes: types,
	})
	if err != nil {
		return missing, fmt.Errorf("add search attributes: %w", err)
	}
	return missing, nil
}

// CreateCommand is what an administrator runs to add search attributes.
func CreateCommand(namespace string, names []string) string {
	var b strings.Builder
	b.WriteString("temporal operator search-attribute create --namespace " + namespace)
	for _, name := range names {
		b.WriteString(" --name " + name + " --type " + workflows.SearchAttributes()[name])
	}
	return b.String()
}
