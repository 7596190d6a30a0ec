"""All tables that are known, the project's own first."""

from framematch.catalog.importing.presets.preset import Preset
from framematch.catalog.importing.presets.shops.google_merchant import GOOGLE_MERCHANT
from framematch.catalog.importing.presets.shops.own import OWN
from framematch.catalog.importing.presets.shops.shopify import SHOPIFY, SHOPIFY_2024
from framematch.catalog.importing.presets.shops.woocommerce import WOOCOMMERCE

PRESETS: tuple[Preset, ...] = (OWN, SHOPIFY, SHOPIFY_2024, WOOCOMMERCE, GOOGLE_MERCHANT)
