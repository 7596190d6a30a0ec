"""The parameters of lists that come in pages."""

from typing import Annotated

from fastapi import Query

from framematch.api.paging import PAGE_SIZE_MAX

PageSize = Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX)]
PageToken = Annotated[str | None, Query(description="`next_page_token` of the page before")]
