"""All objects of many photographs: plan, complete, export."""
