"""All tables that are known, the project's own first."""

from framematch.catalog.importing.presets.preset import Preset
from framematch.catalog.importing.presets.shops.akeneo import AKENEO, AKENEO_MODELS
from framematch.catalog.importing.presets.shops.amazon import AMAZON
from framematch.catalog.importing.presets.shops.google_merchant import GOOGLE_MERCHANT
from framematch.catalog.importing.presets.shops.google_product_search import GOOGLE_PRODUCT_SEARCH
from framematch.catalog.importing.presets.shops.magento import MAGENTO
from framematch.catalog.importing.presets.shops.open_food_facts import OPEN_FOOD_FACTS
from framematch.catalog.importing.presets.shops.own import OWN
from framematch.catalog.importing.presets.shops.prestashop import PRESTASHOP
from framematch.catalog.importing.presets.shops.schema_org import SCHEMA_ORG
from framematch.catalog.importing.presets.shops.shopify import SHOPIFY, SHOPIFY_2024
from framematch.catalog.importing.presets.shops.woocommerce import WOOCOMMERCE

PRESETS: tuple[Preset, ...] = (
    OWN,
    SHOPIFY,
    SHOPIFY_2024,
    WOOCOMMERCE,
    GOOGLE_MERCHANT,
    PRESTASHOP,
    MAGENTO,
    AKENEO,
    AKENEO_MODELS,
    AMAZON,
    OPEN_FOOD_FACTS,
    GOOGLE_PRODUCT_SEARCH,
    SCHEMA_ORG,
)
